"""Parts that several families of models are built from."""
