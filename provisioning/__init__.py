"""What a technician uses to bring boxes to life: claims, cards, labels, and what is wrong here."""
