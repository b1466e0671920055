// rows_and_columns — which row, or which columns, a workgroup takes.
//
// For kernels of the snippet dgain_columns that declare dx_row(row, lane). Workgroups of columns take much longer than
// those of rows. A software rasteriser (SLICES = 1) gives each of its threads a range of workgroups, so columns are
// spread evenly there. On a GPU they follow the rows.

fn run(index: u32, lane: u32) {
    if SLICES > 1u {
        if index < p.batch { dx_row(index, lane); } else { dgain_columns(index - p.batch, lane); }
        return;
    }
    let columns = (p.cols + 4u * WG - 1u) / (4u * WG);
    let apart = (p.batch + columns) / columns;
    let group = index / apart;
    if index == group * apart && group < columns {
        dgain_columns(group, lane);
    } else {
        // A folded grid may overhang.
        let row = index - min(group + 1u, columns);
        if row < p.batch { dx_row(row, lane); }
    }
}
