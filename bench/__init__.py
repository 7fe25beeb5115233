"""The benchmark suite: fastloss beside its peers and beside the limits of the machine."""
