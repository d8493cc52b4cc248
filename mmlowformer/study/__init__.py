"""Study which designs are fast on a device, as the papers did."""
