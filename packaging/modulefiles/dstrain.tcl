#%Module1.0
# SPDX-License-Identifier: Apache-2.0
# Environment Modules: copy to a folder of MODULEPATH as dstrain/<version> and set the prefix that cmake --install was given.
set prefix /opt/dstrain

proc ModulesHelp {} {
  puts stderr "dstrain fine-tunes large language models on many processes."
  puts stderr {  mpirun -np N dstrain cfg.yaml   or   sbatch $DSTRAIN_SLURM/train.sbatch cfg.yaml}
}
module-whatis "dstrain: fine-tuning of large language models under MPI"

conflict dstrain
# The MPI and HDF5 that it was built with:
# module load openmpi hdf5
prepend-path PATH $prefix/bin
prepend-path CMAKE_PREFIX_PATH $prefix
setenv DSTRAIN_SLURM $prefix/share/dstrain/slurm
