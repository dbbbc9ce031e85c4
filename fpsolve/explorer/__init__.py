"""The density under your fingers: a page of controls and pictures (extra `explore`)."""
