"""How we tell: what a webhook's request says, how it is signed, and how it is sent, once."""
