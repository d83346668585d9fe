"""The engine, by noun: fetch, evidence, situations, plan, apply. Only apply writes users."""
