-- SPDX-License-Identifier: Apache-2.0
-- Lmod: copy to a folder of MODULEPATH as dstrain/<version>.lua and set the prefix that cmake --install was given.
local prefix = "/opt/dstrain"

help([[dstrain fine-tunes large language models on many processes.
  mpirun -np N dstrain cfg.yaml           here
  sbatch $DSTRAIN_SLURM/train.sbatch cfg.yaml   under Slurm]])
whatis("Name: dstrain")
whatis("Description: fine-tuning of large language models under MPI")

conflict("dstrain")
-- The MPI and HDF5 that it was built with:
-- depends_on("openmpi", "hdf5")
prepend_path("PATH", pathJoin(prefix, "bin"))
prepend_path("CMAKE_PREFIX_PATH", prefix)
setenv("DSTRAIN_SLURM", pathJoin(prefix, "share/dstrain/slurm"))
