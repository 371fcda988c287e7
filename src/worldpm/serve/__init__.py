"""SCORER -> THE WORLD: the HTTP server, its batching, and the dialects that trainers speak."""
