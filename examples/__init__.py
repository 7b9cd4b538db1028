"""Scripts that show one idea each, and the recipes of D3D and of action detection."""
