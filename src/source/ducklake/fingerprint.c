#include "source/ducklake/extension.h"
