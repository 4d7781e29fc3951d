"""Grading: points per equation, feedback that keeps the solution, submissions in processes of their own, exercises."""
