#include "source/ducklake/freeze.h"
