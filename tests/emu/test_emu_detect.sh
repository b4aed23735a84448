#!/bin/bash
# Faces of the portraits that set-up fetches, found by the emulated GPU, are the processor's. usage: test_emu_detect.sh TEST_EMU_DETECT WIDTH HEIGHT [N]      the first N portraits (default: all)
# shellcheck source=tests/job/common.sh
. "$UNMASK_SOURCE/tests/job/common.sh"
need_detector
need_portraits
"$1" "$(dirname "$UNMASK")/share/unmask/mtcnn.h5" "$2" "$3" "${portraits[@]:0:${4:-99}}"
