"""Tree to manifest to splits to cache to LightningDataModule; fetching; synthetic phantoms."""
