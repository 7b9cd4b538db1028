"""Examples of kdvideo, from one idea per script to the recipe of the paper."""
