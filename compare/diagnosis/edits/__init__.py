"""Edits of the recorded graph: what a step may give by mistake, by the kind of step.

segment      the steps between a tensor and what was returned before it, and what they give where some are edited
edit         one edit: what steps give instead, its tier, and the cause that it is
hypotheses   all edits of a tensor, cheap ones first, at one step or at all steps of a kind or of a loop
arithmetic   sums, products, powers and numbers
functions    functions entry by entry and their derivatives, comparisons, masks, losses
epsilons     small numbers that keep logarithms, roots and divisors finite
reductions   sums, means and maxima along axes
matrices     products, transposes, parts, views and scatters
convolutions kernels, strides, paddings, windows
operands     another tensor in an operand's place, or itself in another way; one_use: where one step takes it
times        a tensor of another time; loops: another variable of a loop
whole        the tensor as a whole: sign, factor, places of its entries, what is added to it
slips        what update rules alone have
wording      steps as formulas; roles: what an edit is in the textbook's terms
"""
