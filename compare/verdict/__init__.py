"""Rounding or fault: the verdict on a tensor, and which tensors are culprits. Its files in the order of reading:

rule          the verdict on one tensor: OK, WEAK, UNTOLD, FAULT or NONFINITE
rounding      what rounding may do to a tensor, and who is asked about it: the screen, the deviation, the witness
opinions      the second opinions on what rounding does not explain, in their order
moves         how a difference behaves where everything moves
bounds        what rounding can explain, by a closed form for each operation of the notes' network
closeness     how close a tensor came to that
judgement     the values: what is said of one tensor of a step
shapes        what is asked before a value is looked at: names, types and shapes
steps         the verdicts on one step, tensor by tensor
batched       the same of many steps at once, where rounding explains everything
attribution   which tensors are wrong by themselves, and which only follow from others
differences   how far two arrays are apart end to end, as a row of a report shows it
conventions   how else records may be read: times a constant, in another orientation or shape
readings      in which of these fewer equations are wrong
"""
