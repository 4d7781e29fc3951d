"""The verdict where one coarse precision is all there is. Its files in the order of reading:

deviation    how far rounding moves each entry of a tensor
directions   what each step of the reference contributes, and how far rounding goes along that
statistics   how far a tensor is off: by entry, by slice, along a direction
case         a reference on some draws, with all of these
rule         the verdict: OK, UNTOLD or FAULT
"""
