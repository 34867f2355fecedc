"""Which of two texts do judges prefer? Models and people, in both orders or blind; never a gate on its own.

pairs      texts of two sides that answer the same prompt
question   what a judge is asked, and how its words are read
local      a judge that is a causal language model on this machine
endpoint   a judge behind an OpenAI-compatible address
judges     which judge an option means
queries    every question once, each answer kept as it comes
figures    win rate, position and length bias, agreement
study      a blind test for people, as pages that work offline
ratings    their answers taken back
"""
