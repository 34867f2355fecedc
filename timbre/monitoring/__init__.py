"""Watching what is served: does the champion still write as its release said, and is what is handed in still what it learnt from?"""
