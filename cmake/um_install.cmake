# um_install: what `cmake --install` puts where. The layout below the prefix is fixed, whatever the prefix: the program finds ../share/unmask from bin, the scripts of slurm find ../../../bin.
# Neither weights nor portraits: they are other people's, fetched where they are used (packaging/README). Tests and stand-ins have no install rule.
install(TARGETS unmask RUNTIME DESTINATION bin)
if(UM_HAS_CUDA)
  install(TARGETS unmask_cuda LIBRARY DESTINATION lib/unmask)
endif()
install(FILES packaging/README packaging/detector.txt DESTINATION share/unmask)
install(FILES configs/b5.json configs/b7.json configs/small.json DESTINATION share/unmask/configs)
install(PROGRAMS scripts/demo DESTINATION share/unmask/scripts)
install(FILES scripts/demo_result.py DESTINATION share/unmask/scripts)
install(PROGRAMS slurm/pipeline.sh DESTINATION share/unmask/slurm)
install(FILES slurm/common.sh slurm/site.env.example slurm/preprocess.sbatch slurm/folds.sbatch slurm/train.sbatch slurm/evaluate.sbatch slurm/score.sbatch slurm/unmask.def
  DESTINATION share/unmask/slurm)
install(FILES README.md LICENSE DESTINATION share/doc/unmask)
file(GLOB um_documents CONFIGURE_DEPENDS docs/*.md)
install(FILES ${um_documents} DESTINATION share/doc/unmask/docs)
