"""A reference in float64 as a coarse format would compute it. Its files in the order of reading:

formats      bfloat16, float16, float32 and TF32: how they round
following    the steps of a reference that its inputs reach
roundings    such steps with the roundings of a format
effects      what one step contributes to what comes out
evaluation   a reference evaluated in float64: outputs and gradients
exact        a reference without roundings on some draws, with what each step contributes
"""
