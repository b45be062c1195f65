"""The images to train on: data sets on the device, their normalisation, and seeded batch orders.

`catalog` says what a data set will hold without touching it (no torch), `dataset` loads it, and
`batches` draws the order of its images. The other modules each read one kind of files.
"""
