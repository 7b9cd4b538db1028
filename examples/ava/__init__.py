"""The second recipe: an action detector on a pretrained network, as on AVA."""
