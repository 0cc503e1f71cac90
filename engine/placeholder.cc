namespace thermocline {}
