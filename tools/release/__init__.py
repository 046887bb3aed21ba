"""The release: both distributions, built twice, checked, installed from their files alone and tried there."""
