"""The check of a torch function with a backward of its own. Its files in the order of reading:

subject      what is checked: both callables, their inputs, the names of what comes out
passes       one forward and backward pass of the user's, and what it did
graph        what the graph of a pass leads to
returned     dtypes, indices and masks, and what is no tensor
structure    what a pass must not depend on: layouts, other inputs, other calls
operands     whether products are in TF32
witness      what a reference must not do
upstream     how gradients follow the upstream gradient
second       the backward as a function of its own
verdicts     every output and gradient judged, with its cause
fine         a function that computes in float64, judged as a derivation is
hidden       what the inputs could not have shown
"""
