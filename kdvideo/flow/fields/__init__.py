"""What a flow field is written, shown and measured with: encodings, pictures, errors, transforms."""
