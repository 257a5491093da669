"""What is learned: each file is one `Method` of the seam in `research.training.method`."""
