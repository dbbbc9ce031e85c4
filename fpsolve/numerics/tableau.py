"""Coefficients of the Rosenbrock method that advances the semi-discrete density."""

from __future__ import annotations

import numpy as np

__all__ = ["COUPLING", "GAMMA", "NODES", "NUDGES", "ORDER", "STAGES", "STAGE_WEIGHTS"]

# Rodas5P: eight stages, order 5 with an embedded solution of order 4, stiffly accurate, L-stable,
# and built to keep its order on semi-discretized parabolic problems.
# Source: G. Steinebach, "Construction of Rosenbrock–Wanner method Rodas5P and numerical benchmarks
# within the Julia Differential Equations package", BIT Numer. Math. 63:27 (2023), Table 3, in the
# form free of matrix–vector products with the Jacobian (Hairer & Wanner II, §IV.7).
ORDER = 5
STAGES = 8
GAMMA = 0.21193756319429014

# Stage s starts from u + Σ_j STAGE_WEIGHTS[s, j] U_j.
STAGE_WEIGHTS = np.zeros((STAGES, STAGES))
STAGE_WEIGHTS[1, :1] = [3.0]
STAGE_WEIGHTS[2, :2] = [2.849394379747939, 0.45842242204463923]
STAGE_WEIGHTS[3, :3] = [-6.954028509809101, 2.489845061869568, -10.358996098473584]
STAGE_WEIGHTS[4, :4] = [
    2.8029986275628964,
    0.5072464736228206,
    -0.3988312541770524,
    -0.04721187230404641,
]
STAGE_WEIGHTS[5, :5] = [
    -7.502846399306121,
    2.561846144803919,
    -11.627539656261098,
    -0.18268767659942256,
    0.030198172008377946,
]
# The last two stages start from successive solutions; the last increment is the error estimate.
STAGE_WEIGHTS[6, :6] = [*STAGE_WEIGHTS[5, :5], 1.0]
STAGE_WEIGHTS[7, :7] = [*STAGE_WEIGHTS[6, :6], 1.0]

# Stage s adds Σ_j COUPLING[s, j] U_j / Δτ to its right-hand side.
COUPLING = np.zeros((STAGES, STAGES))
COUPLING[1, :1] = [-14.155112264123755]
COUPLING[2, :2] = [-17.97296035885952, -2.859693295451294]
COUPLING[3, :3] = [147.12150275711716, -1.41221402718213, 71.68940251302358]
COUPLING[4, :4] = [165.43517024871676, -0.4592823456491126, 42.90938336958603, -5.961986721573306]
COUPLING[5, :5] = [
    24.854864614690072,
    -3.0009227002832186,
    47.4931110020768,
    5.5814197821558125,
    -0.6610691825249471,
]
COUPLING[6, :6] = [
    30.91273214028599,
    -3.1208243349937974,
    77.79954646070892,
    34.28646028294783,
    -19.097331116725623,
    -28.087943162872662,
]
COUPLING[7, :7] = [
    37.80277123390563,
    -3.2571969029072276,
    112.26918849496327,
    66.9347231244047,
    -40.06618937091002,
    -54.66780262877968,
    -9.48861652309627,
]

# Non-autonomous form (Hairer & Wanner II, §IV.7): stage s is evaluated at τ + NODES[s] Δτ, and
# NUDGES[s] Δτ ∂F/∂τ is added. Both follow from Γ⁻¹ = 1/GAMMA − COUPLING and α = STAGE_WEIGHTS Γ.
_GAMMA_MATRIX = np.linalg.inv(np.eye(STAGES) / GAMMA - COUPLING)
NODES = (STAGE_WEIGHTS @ _GAMMA_MATRIX).sum(axis=1)
NUDGES = _GAMMA_MATRIX.sum(axis=1)
