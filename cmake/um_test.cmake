# um_test(name SOURCES ... [LIBS ...] [NP 1 2 ...] [LABELS ...] [TIMEOUT s] [ARGS ...]): the one way to add a test program.
# Without NP it runs once, without mpirun; with NP once per rank count. Each test is its own process with a time limit.
set(UM_TEST_ENV
  OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
  OMPI_MCA_btl_vader_single_copy_mechanism=none OMP_NUM_THREADS=1
  # Open MPI keeps memory until the end of the process; our own leaks are looked for in the unit tests, which do not use it.
  UBSAN_OPTIONS=print_stacktrace=1)
find_program(UM_MPIRUN mpirun REQUIRED)

function(um_test name)
  cmake_parse_arguments(T "" "TIMEOUT" "SOURCES;LIBS;NP;LABELS;ARGS;ENV" ${ARGN})
  if(NOT T_TIMEOUT)
    set(T_TIMEOUT 60)
  endif()
  if(NOT T_LABELS)
    set(T_LABELS quick)
  endif()
  add_executable(${name} ${T_SOURCES})
  target_link_libraries(${name} PRIVATE um_warnings ${T_LIBS})
  if(T_NP)
    foreach(np ${T_NP})
      um_test_command(${name}_np${np} TIMEOUT ${T_TIMEOUT} LABELS ${T_LABELS} ENV ${T_ENV} ASAN_OPTIONS=detect_leaks=0
        COMMAND ${UM_MPIRUN} --bind-to none -n ${np} $<TARGET_FILE:${name}> ${T_ARGS})
    endforeach()
  else()
    um_test_command(${name} TIMEOUT ${T_TIMEOUT} LABELS ${T_LABELS} ENV ${T_ENV} COMMAND ${name} ${T_ARGS})
  endif()
endfunction()

# um_test_command(name COMMAND ... [LABELS ...] [TIMEOUT s] [ENV A=B ...]): a test that is a command (a script, mpirun, the program).
# A script is skipped (not passed) when it exits 77; it says why on stdout.
function(um_test_command name)
  cmake_parse_arguments(T "" "TIMEOUT" "COMMAND;LABELS;ENV" ${ARGN})
  if(NOT T_TIMEOUT)
    set(T_TIMEOUT 60)
  endif()
  if(UNMASK_SANITIZE)
    math(EXPR T_TIMEOUT "${T_TIMEOUT} * 6")
  endif()
  if(NOT T_LABELS)
    set(T_LABELS quick)
  endif()
  add_test(NAME ${name} COMMAND ${T_COMMAND})
  set_tests_properties(${name} PROPERTIES TIMEOUT ${T_TIMEOUT} LABELS "${T_LABELS}" SKIP_RETURN_CODE 77
    ENVIRONMENT "${UM_TEST_ENV};${T_ENV};UNMASK=$<TARGET_FILE:unmask>;UNMASK_SOURCE=${CMAKE_SOURCE_DIR};UNMASK_BUILD=${CMAKE_BINARY_DIR}")
endfunction()
