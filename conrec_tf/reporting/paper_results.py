"""The paper's numbers (Dippel, Vogler, Höhne, 2021, arXiv 2104.04323), and the names in it."""

METHODS = {
  "simclr": "SimCLR",
  "simclr_attention": "SimCLR-attention",
  "reconstruction": "Reconstruction",
  "conrec_ga_pool": "ConRec with GA pool",
  "conrec": "ConRec",
  "densenet121_imagenet": "DenseNet121, ImageNet",
  "supervised_unet": "U-net, supervised",
  "supervised_densenet121": "DenseNet121, supervised",
  "finetune": "Supervised head",
  "segment": "Segmentation",
}

# Linear accuracy in %, on APTOS 2019 quadratic weighted kappa in %.
RESULTS = {
  "rectangle_triangle": {  # Table 1
    "simclr": 85.6,
    "simclr_attention": 90.4,
    "reconstruction": 91.8,
    "conrec_ga_pool": 93.4,
    "conrec": 96.4,
  },
  "circles_square": {  # Table 1
    "simclr": 99.50,
    "simclr_attention": 99.50,
    "reconstruction": 86.47,
    "conrec_ga_pool": 99.50,
    "conrec": 98.75,
  },
  "aptos2019": {  # Table 2
    "simclr": 85.72,
    "simclr_attention": 86.06,
    "conrec": 89.44,
    "densenet121_imagenet": 86.70,
    "supervised_unet": 82.11,
    "supervised_densenet121": 64.53,
  },
  "oxford_flowers102": {  # Table 2; DenseNet121's ImageNet holds images like these
    "simclr": 86.01,
    "simclr_attention": 88.37,
    "conrec": 90.29,
    "densenet121_imagenet": 92.97,
    "supervised_unet": 81.54,
    "supervised_densenet121": 82.03,
  },
  "stanford_dogs": {  # Table 2; DenseNet121's ImageNet holds these dogs
    "simclr": 43.96,
    "simclr_attention": 50.31,
    "conrec": 49.57,
    "densenet121_imagenet": 88.07,
    "supervised_unet": 55.2,
    "supervised_densenet121": 57.63,
  },
}

TABLES = {
  "rectangle_triangle": 1,
  "circles_square": 1,
  "aptos2019": 2,
  "oxford_flowers102": 2,
  "stanford_dogs": 2,
}
PIXELS = {
  "rectangle_triangle": 128,
  "circles_square": 128,
  "aptos2019": 224,
  "oxford_flowers102": 224,
  "stanford_dogs": 224,
}
EPOCHS = {
  "rectangle_triangle": 1000,
  "circles_square": 1000,
  "aptos2019": 1200,
  "oxford_flowers102": 2700,
  "stanford_dogs": 1200,
}
