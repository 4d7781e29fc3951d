"""Feeds both sides the same numbers and judges what they compute. A room imports only from rooms below it:

    cli          commands, flags, template
    grading      points and feedback for submissions, each in a process of its own
    notes        the statements of the lecture notes, proved
    faults       the catalogue of known mistakes, causes explained, planting, audit
    experiment   the notes' network: settings, data, its bounds, many steps at once
    checks       gradients, updates, training, initialiser
    pipeline     what every check goes through: record, judge, attribute, name, report
    report       Report and its renderings
    source       where in the user's code a tensor is computed
    diagnosis    which mistake explains a wrong tensor
    verdict      rounding or fault
    oracle       torch as the trusted witness
    sandbox      calling code that is not ours
    ground       the files beside the rooms: names, results, thresholds, the notes' operations
    facts        causes, notes, blind spots: everything that can be said, as values
Nothing imports in a circle.
"""
