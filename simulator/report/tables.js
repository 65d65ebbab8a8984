// Tables that sort by a click (or Enter) on a column's name, and copy as tab-separated text with numbers in full.

function sortable(table) {
  const body = table.tBodies[0];
  table.querySelectorAll("th").forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const ascending = head.getAttribute("aria-sort") !== "ascending";
      table.querySelectorAll("th").forEach((other) => other.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      const rows = [...body.rows].map((row) => ({ row, key: valueOf(row.cells[column]) }));
      rows.sort((a, b) => (a.key === null ? 1 : b.key === null ? -1 : (ascending ? 1 : -1) * compare(a.key, b.key)));
      body.append(...rows.map(({ row }) => row));
    });
  });
}

// A number, a text, or null where nothing is known (which sorts last either way).
function valueOf(cell) {
  if (cell.dataset.value === undefined) return cell.textContent;
  return cell.dataset.value === "" ? null : Number(cell.dataset.value);
}

function compare(a, b) {
  return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
}

function tableText(table) {
  const text = (cell) => cell.dataset.value ?? cell.textContent;
  return [...table.rows].map((row) => [...row.cells].map(text).join("\t")).join("\n") + "\n";
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // where the page may not write to the clipboard: the way of old
    const area = element("textarea", { "aria-hidden": "true" });
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  const status = document.getElementById("status");
  status.textContent = "Copied";
  setTimeout(() => { status.textContent = ""; }, 1500);
}
