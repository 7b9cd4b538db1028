"""Flow fields: encodings, files, pictures, errors and transforms."""
