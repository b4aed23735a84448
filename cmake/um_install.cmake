# um_install: what `cmake --install` puts where. The layout below the prefix is fixed, whatever the prefix: the program finds ../share/unmask from bin, the scripts of slurm find ../../../bin.
# The manual page and the completion are what the program says of itself.
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
add_custom_command(OUTPUT ${CMAKE_BINARY_DIR}/unmask.1 ${CMAKE_BINARY_DIR}/unmask.bash
  COMMAND sh -c "'$<TARGET_FILE:unmask>' manual man >unmask.1 && '$<TARGET_FILE:unmask>' manual bash >unmask.bash"
  WORKING_DIRECTORY ${CMAKE_BINARY_DIR}
  DEPENDS unmask VERBATIM)
add_custom_target(um_manual ALL DEPENDS ${CMAKE_BINARY_DIR}/unmask.1 ${CMAKE_BINARY_DIR}/unmask.bash)
install(FILES ${CMAKE_BINARY_DIR}/unmask.1 DESTINATION share/man/man1)
install(FILES ${CMAKE_BINARY_DIR}/unmask.bash DESTINATION share/bash-completion/completions RENAME unmask)

# An archive, and a package for Debian 12: cmake --build --preset release --target package.
set(CPACK_GENERATOR TGZ DEB)
set(CPACK_PACKAGE_NAME unmask)
set(CPACK_PACKAGE_CONTACT "the authors of unmask")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "finds deepfakes in video, at the scale of a cluster")
set(CPACK_RESOURCE_FILE_LICENSE ${CMAKE_SOURCE_DIR}/LICENSE)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION video)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS OFF) # dpkg-shlibdeps is no package of set-up; scripts/setup has the list, which the test of the package compares with what the program links to
execute_process(COMMAND ${CMAKE_SOURCE_DIR}/scripts/setup --list-run-packages OUTPUT_VARIABLE um_run_packages OUTPUT_STRIP_TRAILING_WHITESPACE)
string(REPLACE "\n" ", " CPACK_DEBIAN_PACKAGE_DEPENDS "libc6, ${um_run_packages}")
include(CPack)
