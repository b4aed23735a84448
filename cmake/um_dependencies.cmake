# um_dependencies: finds what the program stands on; a missing library stops here with the Debian package to install.
# Each becomes a target um::<name>. docs/dependencies.md says why each was chosen.
find_package(PkgConfig QUIET)
if(NOT PKG_CONFIG_FOUND)
  message(FATAL_ERROR "pkg-config is missing. Install it with: apt-get install pkg-config (or run scripts/setup)")
endif()

function(um_require name package)
  pkg_check_modules(UM_${name} QUIET IMPORTED_TARGET GLOBAL ${ARGN})
  if(NOT UM_${name}_FOUND)
    message(FATAL_ERROR "${ARGN} is missing. Install it with: apt-get install ${package} (or run scripts/setup)")
  endif()
  add_library(um::${name} ALIAS PkgConfig::UM_${name})
endfunction()

um_require(mpi libopenmpi-dev ompi-c)
um_require(ffmpeg "libavformat-dev libavcodec-dev libswscale-dev libavutil-dev" libavformat libavcodec libswscale libavutil)
um_require(jansson libjansson-dev jansson)
um_require(zip libzip-dev libzip)
um_require(turbojpeg libturbojpeg0-dev libturbojpeg)
um_require(spng libspng-dev spng)
um_require(deflate libdeflate-dev libdeflate)

set(HDF5_PREFER_PARALLEL OFF) # one writer per file: docs/format.md
find_package(HDF5 QUIET COMPONENTS C)
if(NOT HDF5_FOUND)
  message(FATAL_ERROR "HDF5 is missing. Install it with: apt-get install libhdf5-dev (or run scripts/setup)")
endif()
add_library(um_hdf5 INTERFACE)
target_include_directories(um_hdf5 SYSTEM INTERFACE ${HDF5_C_INCLUDE_DIRS})
target_link_libraries(um_hdf5 INTERFACE ${HDF5_C_LIBRARIES})
add_library(um::hdf5 ALIAS um_hdf5)

find_package(Threads REQUIRED)
