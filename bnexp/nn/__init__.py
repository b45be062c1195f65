"""Networks with the trial axis: every tensor of parameters has K trials in front.

A family is made of a `LayerFactory`, the sizes (C, H, W) of an image and the number of classes. It takes flattened
images x_SBP, shared by all trials (S = 1), one batch per seed, or one per trial, and returns logits x_KBC.

Shapes: K trials, S distinct seeds, B batch, C features or channels (in, out of a layer), H height, W width,
D = K·C channels of all trials side by side, P numbers of a flattened image, or parameters of one trial.
Activations are x_KBC where layers are fully connected, and x_BDHW, the channels last in memory, where they are
convolutions: with one trial that is what torch.nn has.
"""
