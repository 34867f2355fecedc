"""One flow a file; its body is the road, in order."""
