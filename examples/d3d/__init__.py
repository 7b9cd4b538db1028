"""The recipe of D3D: a flow network teaches an RGB network."""
