#include "source/ducklake/files.h"
