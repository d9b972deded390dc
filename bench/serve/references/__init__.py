"""The speeds of light and the rival: programs for the bench environment's interpreter."""
