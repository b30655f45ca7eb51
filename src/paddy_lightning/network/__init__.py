"""The network: timm's body, fastai's head, weights from anywhere."""
