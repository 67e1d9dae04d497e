"""Deterministic simulation: real engines, real home agent glue, an unreal network, one seed.

`schedule` draws every fault and every movement from the seed before anything runs; `simulation` plays them
in virtual time over `internet`, with `agent` and `node` as machines and `attacker` in between; `ledger` has
every authentic Binding Update ever sent, by which `oracle` judges each step; `agreement` says what must hold
once the faults stop.

    python -m tests.simulation --seed 1234             play one seed and say what happened
    python -m tests.simulation --seed 1234 --shrink    and find a shorter schedule that fails as well
    python -m tests.simulation.soak --seconds 600      new seeds until the time is over
"""
