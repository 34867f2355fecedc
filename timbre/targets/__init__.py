"""Target distributions: a cross-fitted reference mixed with the observed token, admitted on unseen documents before anyone trains on it."""
