"""An Empirical Evaluation of Generic Convolutional and Recurrent Networks (1803.01271)."""
