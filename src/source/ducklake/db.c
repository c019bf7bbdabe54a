#include "source/ducklake/db.h"
