#pragma once
/* model_check.h: what holds for the numbers of every model. Part of model.c and model_import.c. */
#include "src/models/classifier.h"

/* All numbers of one parameter are finite, a variance's not negative: UM_DATA with the name. */
um_status um_model_check_numbers(const um_param *p, const float *x);
