#include "source/ducklake/ducklake.h"
