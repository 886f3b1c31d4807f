"""Recordings as networks take them: windows, augmentation, batches; model space for poses, the body's frame for skeletons."""
